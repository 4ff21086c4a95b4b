"""The pure domain: tables first, properties beside them."""
