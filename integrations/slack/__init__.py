"""Slack: the client of its Web API and the limits of Block Kit."""
