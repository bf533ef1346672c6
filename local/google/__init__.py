"""The emulated APIs of Google Cloud. They know each other and nothing else: no product, no deployment, no other part of `local`."""
