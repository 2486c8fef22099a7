{{/* Rights, each set written once: the chart binds them to the cluster, or to each of watchNamespaces. */}}

{{/* The controller, in the namespaces that it serves. */}}
{{- define "codekeep.controllerRules" -}}
- apiGroups: [codekeep.dev]
  resources: [repositories, accesspolicies, notificationrules]
  verbs: [get, list, watch]
# The finalizer of a Repository whose data goes with it.
- apiGroups: [codekeep.dev]
  resources: [repositories]
  verbs: [patch]
- apiGroups: [codekeep.dev]
  resources: [repositories/status, accesspolicies/status, notificationrules/status]
  verbs: [patch]
- apiGroups: [codekeep.dev]
  resources: [repositories/finalizers]
  verbs: [update]
{{ include "codekeep.workloadRules" . }}
{{- end -}}

{{/* The controller, wherever it builds workloads: also in its own namespace. */}}
{{- define "codekeep.workloadRules" -}}
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [codekeep-ca]
  verbs: [list, watch, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* The git servers, in the namespaces that they serve. */}}
{{- define "codekeep.gitRules" -}}
- apiGroups: [codekeep.dev]
  resources: [repositories, accesspolicies, notificationrules]
  verbs: [get, list, watch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  resourceNames: [codekeep-credentials]
  verbs: [get, list, watch]
# Where a webhook to a Service goes.
- apiGroups: [""]
  resources: [services]
  verbs: [get]
{{- end -}}
