"""The SQL metadata behind the index ports."""
