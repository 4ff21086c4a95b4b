"""nginx in front of the proxies: its configuration, rendered purely, and its process, supervised."""
