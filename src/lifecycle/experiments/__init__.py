"""Experiments: settings are tried in copies, kept under names, and shown beside the champion."""
