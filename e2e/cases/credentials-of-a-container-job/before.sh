cp "$CREDENTIALS_FILE" gha-creds-0123456789abcdef.json
