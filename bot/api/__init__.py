"""REST API version 1: bearer tokens, problem details for every error, cursor pagination."""
