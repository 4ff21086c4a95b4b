"""What the product does, spoken by the HTTP faces: keys, buckets, mirrors, access."""
