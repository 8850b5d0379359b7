{{/*
ConfigMaps and Secrets of the pods, and objects that values bring along.
*/}}

{{/*
Each of `extraObjects`, in the release's namespace unless it names one.
*/}}
{{- define "library.extraObjects" -}}
{{- range .Values.extraObjects }}
---
{{ include "library.overlay" (list (dict "metadata" (dict "namespace" $.Release.Namespace)) .) | fromJson | toYaml }}
{{- end }}
{{- end -}}

{{/*
Each of `configMaps` and `binaryConfigMaps`; the same name in both is one ConfigMap.
*/}}
{{- define "library.configMaps" -}}
{{- $described := include "library.described" . | fromJson -}}
{{- $texts := .Values.configMaps | default dict -}}
{{- $files := .Values.binaryConfigMaps | default dict -}}
{{- range $name := concat (keys $texts) (keys $files) | uniq | sortAlpha }}
{{- $data := get $texts $name | default dict }}
{{- $binary := get $files $name | default dict }}
{{- range keys $binary }}
{{- if hasKey $data . }}
{{- fail (printf "the ConfigMap %s has the key %s both in configMaps and in binaryConfigMaps; rename one" $name .) }}
{{- end }}
{{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "library.sharedLabels" $ | nindent 4 }}
{{- with include "library.texts" (list $ $described $data) | fromJson }}
data:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $binary }}
binaryData:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The Secret, for people without another way to make it. What is given in `values` is as given; all else that the cluster's
Secret already holds stays: a new password would not open the database of before.
*/}}
{{- define "library.secret" -}}
{{- $secret := include "library.secretValues" . | fromJson -}}
{{- if $secret.create -}}
{{- $data := dict -}}
{{- range $key, $encoded := (lookup "v1" "Secret" .Release.Namespace $secret.name).data | default dict -}}
{{- $_ := set $data $key ($encoded | b64dec) -}}
{{- end -}}
{{- range $key, $text := $secret.values -}}
{{- include "library.refusePlaceholder" (list $key $text) -}}
{{- if or $text (not (hasKey $data $key)) -}}
{{- $_ := set $data $key $text -}}
{{- end -}}
{{- end -}}
{{- range $secret.random -}}
{{- if not (hasKey $data .) -}}
{{- $_ := set $data . (randAlphaNum 32) -}}
{{- end -}}
{{- end -}}
{{- range $key, $text := $secret.derived -}}
{{- if not (hasKey $data $key) -}}
{{- range $known, $value := $data -}}
{{- $text = $text | replace (printf "{%s}" $known) $value -}}
{{- end -}}
{{- $_ := set $data $key $text -}}
{{- end -}}
{{- end -}}
{{- range $name, $service := include "library.described" . | fromJson -}}
{{- range $service.secretKeys -}}
{{- if not (hasKey $data .) -}}
{{- fail (printf "service %s takes %s of the Secret, which nothing gives; give secret.values.%s in a file of your own, --values values.override.yaml" $name . .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $field := $secret.field | default "data" -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ $secret.name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "library.sharedLabels" . | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
type: {{ $secret.type | default "Opaque" }}
{{- with $data }}
{{ $field }}:
  {{- range $key, $value := . }}
  {{ $key | quote }}: {{ eq $field "data" | ternary ($value | b64enc) $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
(list KEY TEXT): what stands in tracked files where a secret belongs must not get into a cluster.
*/}}
{{- define "library.refusePlaceholder" -}}
{{- if regexMatch "(?i)change[-_ ]?me|placeholder|^<.*>$|^your[-_ ]|\\.\\.\\.$" (index . 1) -}}
{{- fail (printf "secret.values.%s is a placeholder; give the real value in a file of your own, --values values.override.yaml, or leave secret.create false" (index . 0)) -}}
{{- end -}}
{{- end -}}

{{/*
A certificate for an Ingress, signed by itself. It is made where there is none and is never part of the release: neither
an upgrade nor an uninstall touches it, so one of your own can take its place.
*/}}
{{- define "library.tls" -}}
{{- $tls := .Values.tls | default dict -}}
{{- if and $tls.create (not (lookup "v1" "Secret" .Release.Namespace $tls.name)) -}}
{{- $made := genSelfSignedCert $tls.host nil (list $tls.host) 365 -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ $tls.name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "library.sharedLabels" . | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
type: kubernetes.io/tls
data:
  tls.crt: {{ $made.Cert | b64enc }}
  tls.key: {{ $made.Key | b64enc }}
{{- end -}}
{{- end -}}
