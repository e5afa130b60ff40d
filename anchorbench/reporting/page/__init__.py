"""The report's page: what it shows, a module a section, and how it looks."""
