"""Views: how figures become numbers, tables, plots and pages for people."""
