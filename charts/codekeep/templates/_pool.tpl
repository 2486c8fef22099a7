{{/* pool.yaml: what is empty is left out, and the controller's own default holds. */}}
{{- define "codekeep.pool" -}}
{{- $name := include "codekeep.fullname" . -}}
{{- $pool := .Values.pool -}}
name: {{ $name }}-git
serviceAccountName: {{ $name }}-git
image: {{ include "codekeep.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
replicas: {{ $pool.replicas }}
stores:
- name: default
  url: {{ .Values.storage.url | quote }}
  {{- with .Values.storage.replication }}
  replication: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- range $store, $of := .Values.storage.stores }}
{{- $of = kindIs "string" $of | ternary (dict "url" $of) $of }}
- name: {{ $store | quote }}
  url: {{ $of.url | quote }}
  {{- with $of.credentialsSecret }}
  credentialsSecret: {{ . }}
  {{- end }}
  {{- with $of.replication }}
  replication: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- with include "codekeep.storeSecret" . }}
storeCredentialsSecret: {{ . }}
{{- end }}
{{- with .Values.keyServices }}
keyServices:
{{- range $service, $of := . }}
- name: {{ $service | quote }}
  url: {{ $of.url | quote }}
  {{- with $of.credentialsSecret }}
  credentialsSecret: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
cacheSize: {{ $pool.cacheSize | quote }}
{{- with $pool.cacheMedium }}
cacheMedium: {{ . }}
{{- end }}
{{- with $pool.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
service:
  type: {{ $pool.service.type }}
  {{- with $pool.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pool.service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges: {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $pool.service.nodePort }}
  nodePort: {{ . }}
  {{- end }}
{{- if .Values.ssh.enabled }}
ssh:
  enabled: true
  port: {{ .Values.ssh.port }}
  {{- with .Values.ssh.nodePort }}
  nodePort: {{ . }}
  {{- end }}
{{- end }}
{{- with include "codekeep.tlsSecret" . }}
tlsSecret: {{ . }}
{{- end }}
{{- with .Values.externalUrl }}
externalUrl: {{ . | quote }}
{{- end }}
clusterDomain: {{ .Values.clusterDomain }}
tokenAudiences: {{- toYaml .Values.auth.tokenAudiences | nindent 0 }}
acceptApiServerAudience: {{ .Values.auth.acceptApiServerAudience }}
gracePeriodSeconds: {{ $pool.gracePeriodSeconds }}
{{- range $key := list "webhookAllowCidrs" "env" "tolerations" "topologySpreadConstraints" }}
{{- with index $pool $key }}
{{ $key }}: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}
{{- with merge (dict) $pool.podLabels .Values.commonLabels }}
podLabels: {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $key := list "podAnnotations" "nodeSelector" "affinity" }}
{{- with index $pool $key }}
{{ $key }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with default .Values.priorityClassName $pool.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
networkPolicy: {{ .Values.networkPolicy.enabled }}
logFormat: {{ $pool.logFormat }}
logLevel: {{ $pool.logLevel | quote }}
{{- end -}}
