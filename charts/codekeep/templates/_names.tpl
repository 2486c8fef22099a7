{{/* Names, labels and the image: what many templates say in the same words. */}}

{{- define "codekeep.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "codekeep.selector" -}}
app.kubernetes.io/name: codekeep
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "codekeep.labels" -}}
{{ include "codekeep.selector" . }}
app.kubernetes.io/part-of: codekeep
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of what belongs to the controller. */}}
{{- define "codekeep.controllerLabels" -}}
{{ include "codekeep.labels" . }}
app.kubernetes.io/component: controller
{{- end -}}

{{/* Labels of what belongs to the git servers. */}}
{{- define "codekeep.gitLabels" -}}
{{ include "codekeep.labels" . }}
app.kubernetes.io/component: git-server
{{- end -}}

{{- define "codekeep.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the bucket's credentials; empty: the environment's own. */}}
{{- define "codekeep.storeSecret" -}}
{{- with .Values.storage -}}
{{- if .credentialsSecret }}{{ .credentialsSecret }}
{{- else if .credentials.accessKeyId }}{{ include "codekeep.fullname" $ }}-store
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the certificate of external names; empty: none. */}}
{{- define "codekeep.tlsSecret" -}}
{{- if .Values.tls.secretName }}{{ .Values.tls.secretName }}
{{- else if .Values.tls.certManager.enabled }}{{ include "codekeep.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{/* Namespaces of tenants in which the chart hands out Secrets. */}}
{{- define "codekeep.credentialNamespaces" -}}
{{- concat .Values.watchNamespaces .Values.credentials.namespaces | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Pod Security "restricted", for every pod that the chart makes. */}}
{{- define "codekeep.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "codekeep.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
