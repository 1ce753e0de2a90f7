echo "credentials_json=$(base64 -w 0 "$CREDENTIALS_FILE")" >> "$INPUTS"
