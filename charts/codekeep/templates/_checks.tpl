{{/* What a schema cannot say: combinations that do not work, each with the way out. */}}

{{- define "codekeep.checks" -}}
{{- $storage := .Values.storage -}}
{{- if not $storage.url -}}
{{- fail "storage.url is required: the bucket for the repositories, such as --set storage.url='s3://my-bucket?region=eu-central-1'" -}}
{{- end -}}
{{- if hasKey $storage.stores "default" -}}
{{- fail "storage.stores.default: the store `default` is storage.url; give this one another name" -}}
{{- end -}}
{{- $replicated := dict "default" $storage.replication -}}
{{- range $store, $of := $storage.stores -}}
{{- if kindIs "map" $of -}}{{- $_ := set $replicated $store $of.replication -}}{{- end -}}
{{- end -}}
{{- range $store, $replication := $replicated -}}
{{- $field := eq $store "default" | ternary "storage.replication" (printf "storage.stores.%s.replication" $store) -}}
{{- if and $replication (not $replication.stores) -}}
{{- fail (printf "%s.stores is required: the further stores, such as [far]" $field) -}}
{{- end -}}
{{- range ($replication).stores -}}
{{- if eq . $store -}}
{{- fail (printf "%s.stores: `%s` is the store itself; remove it" $field .) -}}
{{- end -}}
{{- if not (or (eq . "default") (hasKey $storage.stores .)) -}}
{{- fail (printf "%s.stores: there is no store `%s`; add it to storage.stores, or name another" $field .) -}}
{{- end -}}
{{- end -}}
{{- if ($replication).quorum -}}
{{- if ne "Synchronous" (toString $replication.mode) -}}
{{- fail (printf "%s.quorum is about mode Synchronous only; set the mode, or remove it" $field) -}}
{{- end -}}
{{- if gt (int $replication.quorum) (add1 (len $replication.stores) | int) -}}
{{- fail (printf "%s.quorum is more than there are stores; lower it, or add stores" $field) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $keys := $storage.credentials -}}
{{- if ne (empty $keys.accessKeyId) (empty $keys.secretAccessKey) -}}
{{- fail "storage.credentials: accessKeyId and secretAccessKey go together; set both or neither" -}}
{{- end -}}
{{- if and $storage.credentialsSecret $keys.accessKeyId -}}
{{- fail "storage: set either credentialsSecret or credentials, not both" -}}
{{- end -}}
{{- $manager := .Values.tls.certManager -}}
{{- if $manager.enabled -}}
{{- if not $manager.issuerRef.name -}}
{{- fail "tls.certManager.issuerRef.name is required with tls.certManager.enabled: the Issuer or ClusterIssuer that signs" -}}
{{- end -}}
{{- if not (or $manager.dnsNames .Values.externalUrl) -}}
{{- fail "tls.certManager: set externalUrl, or the certificate's names in tls.certManager.dnsNames" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.pool.service.nodePort (eq .Values.pool.service.type "ClusterIP") -}}
{{- fail "pool.service.nodePort has no meaning for type ClusterIP; set pool.service.type to NodePort or LoadBalancer" -}}
{{- end -}}
{{- end -}}
