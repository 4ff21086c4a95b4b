"""Forbidden addresses, in the disguises that attackers use."""

FORBIDDEN = [
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://10.0.0.1/",
    "http://0.0.0.0/",
    "http://[::]/",
    "https://[fd00:ec2::254]/",
]
