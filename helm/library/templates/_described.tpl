{{/*
What the charts' values say, completed. Everything else in this library reads these.
*/}}

{{/*
All enabled services of the chart, by name, with the library's defaults filled in, as JSON. An umbrella has them under
`services`, and takes what is said of one at the top as well (`--set backend.image.tag=1.0.0`); a chart of its own is one
service, by `name` or else by the chart's name.
*/}}
{{- define "library.described" -}}
{{- $described := dict -}}
{{- $single := dict (.Values.name | default .Chart.Name) .Values -}}
{{- range $name, $given := .Values.services | default $single -}}
{{- if $.Values.services -}}
{{- $given = include "library.overlay" (list $given (include "library.atTop" (list $.Values $name) | fromJson)) | fromJson -}}
{{- end -}}
{{- $service := include "library.overlay" (list $.Values.library $given) | fromJson -}}
{{- /* A chart of its own has its ConfigMaps in the place where an umbrella's service names those it takes: it takes all. */ -}}
{{- if kindIs "map" $service.configMaps -}}
{{- $_ := set $service "configMaps" (keys $service.configMaps | sortAlpha) -}}
{{- end -}}
{{- $_ := set $service "image" (include "library.overlay" (list $.Values.image $service.image) | fromJson) -}}
{{- if $service.enabled -}}
{{- $_ := set $described $name $service -}}
{{- end -}}
{{- end -}}
{{- toJson $described -}}
{{- end -}}

{{/*
(list VALUES NAME): what an umbrella's values say of the service NAME at the top, as JSON. A service that is called like
another value of the chart has its place under `services` alone.
*/}}
{{- define "library.atTop" -}}
{{- $values := omit (index . 0) "image" "secret" "secrets" "tls" "configMaps" "binaryConfigMaps" "externals" "names" "test" "faults" "services" "library" "global" "extraObjects" -}}
{{- get $values (index . 1) | default dict | toJson -}}
{{- end -}}

{{/*
`secret` with what `secrets` gives: DATABASE_URL by `--set secrets.databaseUrl=...`. As JSON. Whoever gives one wants the
Secret made.
*/}}
{{- define "library.secretValues" -}}
{{- $given := dict -}}
{{- range $key, $text := .Values.secrets -}}
{{- $_ := set $given ($key | snakecase | upper) $text -}}
{{- end -}}
{{- $over := $given | empty | ternary dict (dict "create" true "values" $given) -}}
{{- include "library.overlay" (list (.Values.secret | default dict) $over) -}}
{{- end -}}

{{/*
The enabled services that a file renders, by name, as JSON: those of the list `only`, or all but those of `except`, or all.
*/}}
{{- define "library.selected" -}}
{{- $selected := dict -}}
{{- range $name, $service := include "library.described" .root | fromJson -}}
{{- if and (has $name ($.only | default (list $name))) (not (has $name ($.except | default list))) -}}
{{- $_ := set $selected $name $service -}}
{{- end -}}
{{- end -}}
{{- toJson $selected -}}
{{- end -}}

{{/*
(list BASE OVER): BASE with OVER laid over it, key by key, as JSON. helm's own merging takes 0, false and "" for
absent; here only null is, and it removes.
*/}}
{{- define "library.overlay" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $result $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $result $key)) -}}
{{- $_ := set $result $key (include "library.overlay" (list (get $result $key) $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}

{{/*
(list ROOT KIND NAME): the name by which the service NAME is known as KIND, one of `names`: app, deployment, service.
*/}}
{{- define "library.name" -}}
{{- $root := index . 0 -}}
{{- $template := get ($root.Values.names | default dict) (index . 1) | default "{name}" -}}
{{- $template | replace "{release}" $root.Release.Name | replace "{name}" (index . 2) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
The port of a service's Service.
*/}}
{{- define "library.servicePort" -}}
{{- .service.port | default .port | int -}}
{{- end -}}

{{/*
(list ROOT NAME SERVICE): where the service NAME is reached from within the namespace.
*/}}
{{- define "library.url" -}}
http://{{ include "library.name" (list (index . 0) "service" (index . 1)) }}:{{ include "library.servicePort" (index . 2) }}
{{- end -}}

{{/*
(list NAME SERVICE): where the service is reached from this machine: by its published node port, else by the port that
NOTES.txt forwards to it.
*/}}
{{- define "library.outside" -}}
{{- $service := index . 1 -}}
{{- $port := include "library.localPort" $service -}}
{{- if and $service.service.nodePort (ne $service.service.type "ClusterIP") -}}
{{- $port = $service.service.nodePort -}}
{{- end -}}
http://127.0.0.1:{{ int $port }}
{{- end -}}

{{/*
The port of this machine that NOTES.txt forwards to a service: the service's own, unless only root may listen there.
*/}}
{{- define "library.localPort" -}}
{{- int .port | lt 1023 | ternary (int .port) (add .port 8000) -}}
{{- end -}}

{{/*
(list ROOT DESCRIBED MAP): MAP with each {url:NAME}, {outside:NAME} and {port:NAME} in its values replaced, as JSON.
*/}}
{{- define "library.texts" -}}
{{- $root := index . 0 -}}
{{- $described := index . 1 -}}
{{- $result := dict -}}
{{- range $key, $text := index . 2 -}}
{{- range $found := regexFindAll "\\{(url|outside|port):[^}]*\\}" $text -1 | uniq -}}
{{- $parts := $found | trimPrefix "{" | trimSuffix "}" | splitList ":" -}}
{{- $name := rest $parts | join ":" -}}
{{- $service := get $described $name -}}
{{- if not $service -}}
{{- fail (printf "%s stands in a value, but no service of that name is enabled; known are %s" $found (keys $described | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $by := dict
  "url" (include "library.url" (list $root $name $service))
  "outside" (include "library.outside" (list $name $service))
  "port" ($service.port | int | toString)
-}}
{{- $text = $text | replace $found (get $by (first $parts)) -}}
{{- end -}}
{{- $_ := set $result $key $text -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}

{{/*
The reference of an image: registry/repository:tag. A tag that isn't given is the chart's appVersion.
*/}}
{{- define "library.image" -}}
{{- $image := .service.image -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{ $image.repository }}
{{- with $image.digest }}@{{ . }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end -}}

{{/*
The labels that never change while a service lives: selectors and volume claims can't be changed afterwards.
*/}}
{{- define "library.selector" -}}
app: {{ include "library.name" (list .root "app" .name) }}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end -}}

{{/*
The labels of pods. The chart's version isn't among them: it would replace pods in which nothing else is new.
*/}}
{{- define "library.podLabels" -}}
{{ include "library.selector" . }}
app.kubernetes.io/part-of: {{ .root.Values.library.partOf }}
{{- /* A tag may have a digest behind it, as in 1.0.0@sha256:…; a label has no such signs. */}}
app.kubernetes.io/version: {{ .service.image.tag | default .root.Chart.AppVersion | regexFind "^[^@]*" | trunc 63 | trimAll "-_." | quote }}
{{- end -}}

{{/*
The labels of a service's other objects.
*/}}
{{- define "library.labels" -}}
{{ include "library.podLabels" . }}
{{ include "library.chartLabels" .root }}
{{- end -}}

{{/*
The labels of what belongs to the whole chart.
*/}}
{{- define "library.sharedLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/part-of: {{ .Values.library.partOf }}
{{ include "library.chartLabels" . }}
{{- end -}}

{{- define "library.chartLabels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | splitList "+" | first) | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/*
(list SCOPE NAME): the head of a service's object that is called NAME.
*/}}
{{- define "library.metadata" -}}
{{- $scope := index . 0 -}}
name: {{ index . 1 }}
namespace: {{ $scope.root.Release.Namespace }}
labels:
  {{- include "library.labels" $scope | nindent 2 }}
{{- end -}}
