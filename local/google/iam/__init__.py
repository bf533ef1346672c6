"""IAM: identities, roles, policies and tokens."""
