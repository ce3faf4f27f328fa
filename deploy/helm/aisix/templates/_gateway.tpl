{{/* The configuration of a gateway's pod that the chart decides; bootstrap and extproc must see the same. */}}
{{- define "aisix.gatewayEnv" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if eq .Values.mode "sidecar" }}
- name: AISIX_PROXY__ADDRESS
  value: {{ printf "%s:3000" .Values.bind | quote }}
- name: AISIX_PROXY__ENVOY_ADMIN
  value: unix:/run/aisix/envoy-admin.sock
- name: AISIX_PROXY__STATS_ADDRESS
  value: {{ ternary (printf "%s:9091" .Values.bind) "" .Values.metrics.enabled | quote }}
- name: AISIX_PROXY__MAX_MEMORY_BYTES
  value: {{ include "aisix.envoyMemory" . | quote }}
{{- if .Values.gateway.tls.existingSecret }}
- name: AISIX_PROXY__TLS_CERT_FILE
  value: /etc/aisix/proxy-tls/tls.crt
- name: AISIX_PROXY__TLS_KEY_FILE
  value: /etc/aisix/proxy-tls/tls.key
{{- end }}
- name: AISIX_EXTPROC__ADDRESS
  value: unix:/run/aisix/extproc.sock
{{- else }}
- name: AISIX_EXTPROC__ADDRESS
  value: {{ printf "%s:3002" .Values.bind | quote }}
- name: AISIX_EXTPROC__TLS_CERT_FILE
  value: /etc/aisix/mtls/tls.crt
- name: AISIX_EXTPROC__TLS_KEY_FILE
  value: /etc/aisix/mtls/tls.key
- name: AISIX_EXTPROC__CLIENT_CA_FILE
  value: /etc/aisix/mtls/ca.crt
{{- end }}
- name: AISIX_EXTPROC__SNAPSHOT_FILE
  value: /spool/$(POD_NAME).snapshot
- name: AISIX_USAGE__SPOOL_DIR
  value: /spool
- name: AISIX_METRICS__ADDRESS
  value: {{ ternary (printf "%s:9090" .Values.bind) "" .Values.metrics.enabled | quote }}
- name: AISIX_EXTPROC__LAME_DUCK
  {{- /* Beside Envoy it is the preStop hook's; else Envoy turns to another extproc meanwhile. */}}
  value: {{ ternary "0s" (printf "%ds" (int .Values.holdSeconds)) (eq .Values.mode "sidecar") | quote }}
- name: AISIX_TIMEOUTS__DRAIN
  value: {{ printf "%ds" (int .Values.drainSeconds) | quote }}
{{- if include "aisix.upstreamCA" . }}
- name: AISIX_UPSTREAM__CA_FILE
  value: /etc/aisix/upstream-ca/ca.crt
{{- end }}
{{- end -}}

{{/* Envoy's heap: as it is said, or three quarters of its memory limit. */}}
{{- define "aisix.envoyMemory" -}}
{{- $e := .Values.gateway.envoy -}}
{{- if $e.maxMemoryBytes -}}
{{- int64 $e.maxMemoryBytes -}}
{{- else -}}
{{- $limit := dig "limits" "memory" "" $e.resources -}}
{{- if $limit -}}
{{- div (mul (include "aisix.bytes" $limit | int64) 3) 4 -}}
{{- else -}}
2147483648
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Files that the start file names. */}}
{{- define "aisix.envoyMounts" -}}
{{- if and (eq .Values.mode "sidecar") .Values.gateway.tls.existingSecret -}}
- name: proxy-tls
  mountPath: /etc/aisix/proxy-tls
  readOnly: true
{{ end -}}
{{- if include "aisix.upstreamCA" . -}}
- name: upstream-ca
  mountPath: /etc/aisix/upstream-ca
  readOnly: true
{{ end -}}
{{- end -}}
