{{- define "aisix.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The longest suffix is "-envoy-client": what remains of a label's 63 characters. */}}
{{- define "aisix.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains (include "aisix.name" .) .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "aisix.name" .) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The pods that take calls: in mode service they are extproc alone. */}}
{{- define "aisix.gateway" -}}
{{- printf "%s-%s" (include "aisix.fullname" .) (ternary "gateway" "extproc" (eq .Values.mode "sidecar")) -}}
{{- end -}}

{{- define "aisix.component" -}}
{{- ternary "gateway" "extproc" (eq .Values.mode "sidecar") -}}
{{- end -}}

{{- define "aisix.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: aisix
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* selector: a list of the root and the component. */}}
{{- define "aisix.selector" -}}
app.kubernetes.io/name: {{ include "aisix.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* image: a list of the root and an image of values. */}}
{{- define "aisix.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 0).Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* serviceAccount: a list of the root, values of an account, and the name that it gets. */}}
{{- define "aisix.serviceAccount" -}}
{{- $account := index . 1 -}}
{{- if $account.create -}}
{{- default (index . 2) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{/* bytes of a quantity, as Kubernetes writes them: 2Gi, 1.5Gi, 1500M, 2e9, 2147483648 (a number of YAML, which
Helm has as a float). Whole bytes: m is none. */}}
{{- define "aisix.bytes" -}}
{{- $q := toString . -}}
{{- $n := regexFind "^[0-9]+(\\.[0-9]+)?([eE][+]?[0-9]+)?" $q -}}
{{- $unit := trimPrefix $n $q -}}
{{- $factors := dict "" 1 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 -}}
{{- if not (and $n (hasKey $factors $unit)) -}}
{{- fail (printf "%s: write a memory limit in bytes, or as 1536Mi, 1.5Gi, 2G" $q) -}}
{{- end -}}
{{- int64 (mulf (float64 $n) (float64 (get $factors $unit))) -}}
{{- end -}}

{{- define "aisix.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "aisix.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* redisEnv: a list of the root and a user of values.redis. */}}
{{- define "aisix.redisEnv" -}}
{{- $root := index . 0 -}}
{{- $user := index . 1 -}}
{{- $redis := $root.Values.redis -}}
- name: AISIX_REDIS__URL
  value: {{ printf "%s://%s/%d" (ternary "rediss" "redis" $redis.tls.enabled) (required "redis.address is needed: host:port of a Redis or Valkey" $redis.address) (int $redis.database) | quote }}
{{- with $user.username }}
- name: AISIX_REDIS__USERNAME
  value: {{ . | quote }}
{{- end }}
{{- if $user.existingSecret }}
- name: AISIX_REDIS__PASSWORD_FILE
  value: /etc/aisix/redis-password/password
{{- end }}
{{- if and $redis.tls.enabled $redis.tls.caSecret.name }}
- name: AISIX_REDIS__CA_FILE
  value: /etc/aisix/redis-ca/ca.crt
{{- end }}
{{- if and $redis.tls.enabled $redis.tls.clientSecret }}
- name: AISIX_REDIS__CERT_FILE
  value: /etc/aisix/redis-client/tls.crt
- name: AISIX_REDIS__KEY_FILE
  value: /etc/aisix/redis-client/tls.key
{{- end }}
{{- end -}}

{{- define "aisix.masterKeyEnv" -}}
- name: AISIX_SECRETS__MASTER_KEY_FILE
  value: /etc/aisix/master-key/master.key
{{- if .Values.masterKey.previous.existingSecret }}
- name: AISIX_SECRETS__PREVIOUS_MASTER_KEY_FILE
  value: /etc/aisix/previous-master-key/master.key
{{- end }}
{{- end -}}

{{/* sharedMounts, sharedVolumes: what admin and extproc both read; a list of the root and a user of values.redis. */}}
{{- define "aisix.sharedMounts" -}}
{{- $user := index . 1 -}}
{{- with index . 0 -}}
- name: config
  mountPath: /etc/aisix/config
  readOnly: true
- name: master-key
  mountPath: /etc/aisix/master-key
  readOnly: true
{{- if .Values.masterKey.previous.existingSecret }}
- name: previous-master-key
  mountPath: /etc/aisix/previous-master-key
  readOnly: true
{{- end }}
{{- if and .Values.redis.tls.enabled .Values.redis.tls.caSecret.name }}
- name: redis-ca
  mountPath: /etc/aisix/redis-ca
  readOnly: true
{{- end }}
{{- if and .Values.redis.tls.enabled .Values.redis.tls.clientSecret }}
- name: redis-client
  mountPath: /etc/aisix/redis-client
  readOnly: true
{{- end }}
{{- if $user.existingSecret }}
- name: redis-password
  mountPath: /etc/aisix/redis-password
  readOnly: true
{{- end }}
{{- end -}}
{{- end -}}

{{- define "aisix.sharedVolumes" -}}
{{- $user := index . 1 -}}
{{- with index . 0 -}}
- name: config
  configMap:
    name: {{ include "aisix.fullname" . }}
- name: master-key
  secret:
    secretName: {{ required "masterKey.existingSecret is needed: kubectl create secret generic aisix-master-key --from-literal=master.key=\"$(openssl rand -base64 32)\"" .Values.masterKey.existingSecret }}
    defaultMode: 0400
    items: [{key: {{ .Values.masterKey.key }}, path: master.key}]
{{- with .Values.masterKey.previous }}
{{- if .existingSecret }}
- name: previous-master-key
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0400
    items: [{key: {{ .key }}, path: master.key}]
{{- end }}
{{- end }}
{{- if .Values.redis.tls.enabled }}
{{- with .Values.redis.tls.caSecret }}
{{- if .name }}
- name: redis-ca
  secret:
    secretName: {{ .name }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- with .Values.redis.tls.clientSecret }}
- name: redis-client
  secret:
    secretName: {{ . }}
    defaultMode: 0400
{{- end }}
{{- end }}
{{- with $user }}
{{- if .existingSecret }}
- name: redis-password
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0400
    items: [{key: {{ .key }}, path: password}]
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "aisix.upstreamCA" -}}
{{- or .Values.upstream.caSecret.name .Values.upstream.caConfigMap.name -}}
{{- end -}}

{{- define "aisix.mtlsSecret" -}}
{{- if .Values.mtls.certManager.enabled -}}
{{- printf "%s-extproc-server" (include "aisix.fullname" .) -}}
{{- else -}}
{{- required "mode service takes mutual TLS: set mtls.existingSecret, a secret with tls.crt, tls.key and ca.crt, or mtls.certManager.enabled" .Values.mtls.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "aisix.adminSecret" -}}
{{- if .Values.admin.key.existingSecret -}}
{{- .Values.admin.key.existingSecret -}}
{{- else if .Values.admin.key.generate -}}
{{- printf "%s-admin-key" (include "aisix.fullname" .) -}}
{{- else -}}
{{- fail "an admin key is needed: name a secret in admin.key.existingSecret, or set admin.key.generate" -}}
{{- end -}}
{{- end -}}

{{/* config.yaml; what is secret does not belong into a ConfigMap. */}}
{{- define "aisix.config" -}}
{{- range $path := list "admin.key" "redis.password" "redis.url" "secrets.master_key" -}}
{{- $at := splitList "." $path -}}
{{- if hasKey (default dict (get $.Values.config (index $at 0))) (index $at 1) -}}
{{- fail (printf "config.%s: secrets and Redis's address are not configuration here: see masterKey, redis and admin.key" $path) -}}
{{- end -}}
{{- end -}}
{{- toYaml .Values.config -}}
{{- end -}}
