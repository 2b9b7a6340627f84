"""JPEG from scratch (ITU-T T.81)."""
