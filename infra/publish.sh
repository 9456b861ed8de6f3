#!/usr/bin/env bash
# Publishes main, mcp and realm to the sites of a resource group: bash infra/publish.sh GROUP [APP …]
# Needs az (logged in), func (Azure Functions Core Tools 4) and python3. A site is found by its tag
# azd-service-name, never by a name that is put together here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if (($# < 1)); then
  echo "usage: bash infra/publish.sh RESOURCE_GROUP [main] [mcp] [realm]" >&2
  exit 2
fi
group=$1
shift
apps=("$@")
((${#apps[@]})) || apps=(main mcp realm)
tries=${AOS_PUBLISH_TRIES:-3}
pause=${AOS_PUBLISH_PAUSE_SECONDS:-30}
limit=${AOS_PUBLISH_TIMEOUT_SECONDS:-1200}

# macOS has no `timeout`: there a publish that hangs is ended by hand.
limited() {
  if command -v timeout >/dev/null; then timeout "$limit" "$@"; else "$@"; fi
}

for tool in az func python3; do
  command -v "$tool" >/dev/null || { echo "$tool is not on PATH" >&2; exit 2; }
done

python3 infra/package.py "${apps[@]}"

for app in "${apps[@]}"; do
  sites=$(az functionapp list --resource-group "$group" \
    --query "[?tags.\"azd-service-name\"=='$app'].name" --output tsv)
  if [[ $(wc -w <<<"$sites") -ne 1 ]]; then
    echo "$group has not exactly one site tagged azd-service-name=$app: ${sites:-none}" >&2
    exit 1
  fi
  for ((try = 1; ; try++)); do
    echo "publishing build/$app to $sites (try $try of $tries)"
    (cd "build/$app" && limited func azure functionapp publish "$sites" --python) && break
    if ((try >= tries)); then
      echo "build/$app could not be published to $sites" >&2
      exit 1
    fi
    sleep "$pause"
  done
done
