#!/usr/bin/env bash
# Installs the chart into the cluster of kubectl's context, in a namespace of its own, with a Valkey and the Bedrock
# simulator; calls it by the documentation's commands; updates it while a stream runs; and backs it up and restores it.
# The cluster needs the images aisix/{extproc,admin,bedrocksim}:ci and aisix/extproc:next.
set -euo pipefail
cd "$(dirname "$0")/../.."
helm=${HELM:-.tools/helm}
ns=aisix-try
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

kubectl create namespace "$ns"
kubectl label namespace "$ns" pod-security.kubernetes.io/enforce=restricted
kubectl -n "$ns" create secret generic aisix-master-key --from-literal=master.key="$(openssl rand -base64 32)"
kubectl -n "$ns" apply -f deploy/helm/try.yaml
kubectl -n "$ns" rollout status deployment/valkey deployment/bedrocksim --timeout=180s
install() {
	"$helm" upgrade --install gw deploy/helm/aisix -n "$ns" --wait --timeout 5m \
		--set masterKey.existingSecret=aisix-master-key --set redis.address=valkey:6379 --set admin.key.generate=true \
		--set images.extproc.tag="$1" --set images.admin.tag=ci --set drainSeconds=120 --set holdSeconds=10 \
		--set networkPolicy.enabled=true --set 'networkPolicy.upstream.ports={443,3010}'
}
install ci

kubectl -n "$ns" port-forward svc/gw-aisix-admin 3001:3001 >/dev/null &
admin_key=$(kubectl -n "$ns" get secret gw-aisix-admin-key -o jsonpath='{.data.admin\.key}' | base64 -d)
for _ in $(seq 50); do curl -fsS -o /dev/null http://127.0.0.1:3001/livez 2>/dev/null && break; sleep 0.2; done
post() {
	curl -fsS -X POST "http://127.0.0.1:3001/admin/v1/$1" -H "Authorization: Bearer $admin_key" -H 'Content-Type: application/json' -d "$2"
}
id() { sed -n 's/.*"id":"\([^"]*\)".*/\1/p'; }
provider=$(post provider_keys '{"display_name":"sim","provider":"amazon-bedrock","adapter":"bedrock","api_base":"http://bedrocksim:3010","secret":"{\"access_key_id\":\"YOUR_AWS_ACCESS_KEY_ID\",\"secret_access_key\":\"YOUR_AWS_SECRET_ACCESS_KEY\",\"region\":\"us-west-2\"}"}' | id)
post models "{\"display_name\":\"nova\",\"provider\":\"amazon-bedrock\",\"model_name\":\"amazon.nova-pro-v1:0\",\"provider_key_id\":\"$provider\"}" >/dev/null
post apikeys "{\"key_hash\":\"$(printf %s sk-try | sha256sum | cut -d' ' -f1)\",\"allowed_models\":[\"*\"]}" >/dev/null

# From inside, through the Service: curl in the Valkey image's place would need one; a pod of its own has it.
kubectl -n "$ns" wait --for=condition=Ready pod/caller --timeout=120s
inside() { kubectl -n "$ns" exec caller -- "$@"; }
ask='{"model":"nova","messages":[{"role":"user","content":"Hello"}]}'
url=http://gw-aisix-gateway:3000/v1/chat/completions
for _ in $(seq 50); do
	status=$(inside curl -sS -o /dev/null -w '%{http_code}' "$url" -H 'Authorization: Bearer sk-try' -H 'Content-Type: application/json' -d "$ask")
	[ "$status" = 200 ] && break
	sleep 0.2
done
[ "$status" = 200 ] || { echo "a plain question: $status" >&2; exit 1; }

# A stream that lasts while every pod is replaced, and new calls all the while.
inside sh -c "curl -sS -N '$url' -H 'Authorization: Bearer sk-try' -H 'Content-Type: application/json' \
	-d '{\"model\":\"nova\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"sim:words=60 sim:chunks=60 sim:every=1s Tell me a story.\"}]}'" >"$work/stream" &
stream=$!
inside sh -c "while [ ! -e /tmp/stop ]; do curl -sS -o /dev/null -w '%{http_code}\n' '$url' -H 'Authorization: Bearer sk-try' -H 'Content-Type: application/json' -d '$ask' || echo failed; done" >"$work/statuses" &
calls=$!
install next
inside touch /tmp/stop
wait "$calls"
wait "$stream"
grep -q '^data: \[DONE\]' "$work/stream" || { echo "the stream was cut:" >&2; cat "$work/stream" >&2; exit 1; }
if grep -qvx 200 "$work/statuses"; then echo "calls were refused during the update:" >&2; sort "$work/statuses" | uniq -c >&2; exit 1; fi
echo "$(wc -l <"$work/statuses") calls during the update, all of them 200, and a stream that ended well"

# A backup, an emptied store, and a restore.
umask 077
kubectl -n "$ns" exec deploy/gw-aisix-admin -- admin -config /etc/aisix/config/config.yaml -backup - >"$work/aisix.backup"
kubectl -n "$ns" exec deploy/valkey -- valkey-cli flushall
kubectl -n "$ns" exec -i deploy/gw-aisix-admin -- admin -config /etc/aisix/config/config.yaml -restore - <"$work/aisix.backup"
status=$(inside curl -sS -o /dev/null -w '%{http_code}' "$url" -H 'Authorization: Bearer sk-try' -H 'Content-Type: application/json' -d "$ask")
[ "$status" = 200 ] || { echo "after the restore: $status" >&2; exit 1; }
"$helm" uninstall gw -n "$ns" --wait
echo "all of it worked"
