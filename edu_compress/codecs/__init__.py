"""The codecs, one module (or package) each; :mod:`edu_compress.registry` lists them and loads them when needed."""
