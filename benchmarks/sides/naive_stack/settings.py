"""Where everything is, from the environment."""

import os

DATABASE_URL = os.environ["NAIVE_DATABASE_URL"]
REDIS_URL = os.environ["NAIVE_REDIS_URL"]
SIGNING_SECRET = os.environ["NAIVE_SIGNING_SECRET"]
SLACK_TOKEN = os.environ["NAIVE_SLACK_TOKEN"]
SLACK_API_URL = os.environ["NAIVE_SLACK_API_URL"]
