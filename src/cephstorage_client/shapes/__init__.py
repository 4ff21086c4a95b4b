"""The shapes of the API's answers, by subject. Later versions of the service may add fields, never rename them."""
