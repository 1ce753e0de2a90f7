# As long as there is no database, the model ends with exit code 1.
kubectl create configmap while-the-database-starts --from-literal=MODEL_EXIT_CODE=1 --from-literal=MODEL_EXIT_AFTER=1s
