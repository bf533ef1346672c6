"""Cloud Run and Cloud Functions (2nd generation): services, their APIs, and what stands in front of them."""
