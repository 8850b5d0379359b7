{{/*
What the charts' values say, completed. Everything else in this library reads these.
*/}}

{{/*
All enabled services of the chart, by name, with the library's defaults filled in, as JSON. An umbrella has them under
`services`; a chart of its own is one service, named like the chart.
*/}}
{{- define "library.described" -}}
{{- $described := dict -}}
{{- range $name, $given := .Values.services | default (dict .Chart.Name .Values) -}}
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
(list ROOT DESCRIBED NAME): where the service NAME is reached from within the namespace.
*/}}
{{- define "library.url" -}}
{{- $root := index . 0 -}}
{{- $name := index . 2 -}}
{{- $service := get (index . 1) $name -}}
{{- if not $service -}}
{{- fail (printf "{url:%s} stands in a value, but no service of that name is enabled; known are %s" $name (keys (index . 1) | sortAlpha | join ", ")) -}}
{{- end -}}
http://{{ include "library.name" (list $root "service" $name) }}:{{ $service.service.port | default $service.port | int }}
{{- end -}}

{{/*
(list ROOT DESCRIBED MAP): MAP with each {url:NAME} in its values replaced, as JSON.
*/}}
{{- define "library.texts" -}}
{{- $root := index . 0 -}}
{{- $described := index . 1 -}}
{{- $result := dict -}}
{{- range $key, $text := index . 2 -}}
{{- range $found := regexFindAll "\\{url:[^}]*\\}" $text -1 | uniq -}}
{{- $name := $found | trimPrefix "{url:" | trimSuffix "}" -}}
{{- $text = $text | replace $found (include "library.url" (list $root $described $name)) -}}
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
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
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
app.kubernetes.io/version: {{ .service.image.tag | default .root.Chart.AppVersion | trunc 63 | trimAll "-_." | quote }}
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
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}
