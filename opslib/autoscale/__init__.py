"""Autoscale settings as values: read, checked, made and moved. Pure."""
