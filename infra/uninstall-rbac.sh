#!/usr/bin/env bash
# List what Fleet Registrar has granted in the clusters of a fleet; with --delete, delete it. Objects without its label stay.
# Run it before `make uninstall`, as a person with cluster-admin on the clusters. Exit code 1: not every cluster could be read.
set -euo pipefail

project=${1:?usage: infra/uninstall-rbac.sh FLEET_PROJECT [--delete]}
mode=${2:-}
if [[ -n $mode && $mode != --delete ]]; then
  echo "usage: infra/uninstall-rbac.sh FLEET_PROJECT [--delete]" >&2
  exit 2
fi

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
export KUBECONFIG=$directory/config
selector=app.kubernetes.io/managed-by=fleet-registrar
failed=0

gcloud container fleet memberships list --project "$project" --format='value(name.basename(),name.segment(-3))' >"$directory/memberships"
while read -r name location <&3; do
  rm -f "$KUBECONFIG"
  echo "$location/$name"
  if ! gcloud container fleet memberships get-credentials "$name" --location "$location" --project "$project" --quiet 2>"$directory/error" ||
    ! found=$(kubectl get clusterrolebindings,clusterroles --selector "$selector" --output name --request-timeout 30s 2>"$directory/error"); then
    sed 's/^/  cannot be read: /' "$directory/error"
    failed=1
  elif [[ -n $found ]]; then
    echo "$found"
    if [[ $mode == --delete ]]; then
      kubectl delete clusterrolebindings,clusterroles --selector "$selector" --request-timeout 30s || failed=1
    fi
  fi
done 3<"$directory/memberships"
exit "$failed"
