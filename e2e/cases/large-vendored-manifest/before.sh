# A definition as large as KServe's: 1.5 MB, nearly all of it descriptions.
{
  cat <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servers.vendored.example.com}
spec:
  group: vendored.example.com
  scope: Namespaced
  names: {plural: servers, kind: Server, singular: server}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
YAML
  awk 'BEGIN {
    text = sprintf("%900s", ""); gsub(/ /, "word ", text)
    for (i = 0; i < 300; i++) printf "            field%d: {type: string, description: \"%s\"}\n", i, text
  }'
} > kubernetes/crd.yaml
