"""Cloud Run and Cloud Functions (2nd generation): services, their APIs, and the check of their callers."""
