# What google-github-actions/auth leaves: a key of an account that another project has.
sed 's/"project_id": "local-project"/"project_id": "ci-project"/' "$CREDENTIALS_FILE" > gha-creds-0123456789abcdef.json
echo "env:GOOGLE_GHA_CREDS_PATH=$PWD/gha-creds-0123456789abcdef.json" >> "$INPUTS"
