"""What learned codecs share: transforms, densities, decoding orders, exact arithmetic, weights. No codec is here."""
