{{/*
NOTES.txt: how each service is reached.
*/}}
{{- define "library.notes" -}}
{{- $described := include "library.described" . | fromJson -}}
{{ .Release.Name }} {{ .Chart.AppVersion }} is in namespace {{ .Release.Namespace }}.

From outside the cluster:
{{- $outside := false }}
{{- range $name, $service := $described }}
{{- if ne $service.service.type "ClusterIP" }}
{{- $outside = true }}
{{- with $service.service.nodePort }}
  {{ $name }}: http://127.0.0.1:{{ . | int }} where the cluster's node ports are published on this machine,
  {{ repeat (len $name) " " }}  http://ADDRESS_OF_A_NODE:{{ . | int }} elsewhere
{{- else }}
  {{ $name }}: minikube service {{ include "library.name" (list $ "service" $name) }} --namespace {{ $.Release.Namespace }} --url
{{- end }}
{{- if eq $service.service.type "LoadBalancer" }}
  {{ repeat (len $name) " " }}  at port {{ include "library.servicePort" $service }} of its external address, once there is one: minikube tunnel gives it one
{{- end }}
{{- end }}
{{- if or $service.ingress.enabled $service.route.enabled }}
{{- $outside = true }}
{{- end }}
{{- if $service.ingress.enabled }}
{{- range include "library.ingressHosts" $service.ingress | fromJsonArray }}
{{- $at := printf "http%s://%s" (empty .tlsSecret | ternary "" "s") (.host | default "ADDRESS_OF_THE_CONTROLLER") }}
{{- range .paths | default (list "/") }}
  {{ $name }}: {{ $at }}{{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- if $service.route.enabled }}
  {{ $name }}: http://{{ first $service.route.hostnames | default "ADDRESS_OF_THE_GATEWAY" }}{{ $service.route.path }}
{{- end }}
{{- end }}
{{- if not $outside }}
  nothing is open; kubectl port-forward, as below, reaches what is within
{{- end }}

From within the namespace:
{{- range $name, $service := $described }}
  {{ $name }}: {{ include "library.url" (list $ $name $service) | trimPrefix "http://" }}
{{- end }}

A service on this machine, at http://127.0.0.1:PORT:
{{- range $name, $service := $described }}
  kubectl --namespace {{ $.Release.Namespace }} port-forward service/{{ include "library.name" (list $ "service" $name) }} {{ include "library.localPort" $service }}:{{ include "library.servicePort" $service }}
{{- end }}
{{- $secret := include "library.secretValues" . | fromJson }}
{{- if and $secret.create $secret.random }}

The Secret {{ $secret.name }} was made by this release, with values at random that an upgrade finds in the cluster. What renders without
looking at the cluster, such as `helm template` or a GitOps controller, makes other ones each time: give it a Secret that is there
beforehand, with secret.create=false and secret.name.
{{- end }}
{{- if (.Values.test | default dict).command }}

Is it well? helm --namespace {{ .Release.Namespace }} test {{ .Release.Name }}
{{- end }}
{{- end -}}
