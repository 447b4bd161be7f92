"""The doors: chat, browser, REST and terminal."""
