"""The transfer engine part by part."""
