"""The contract between client, master and worker: messages, op definitions, dtypes, errors."""
