{{/*
The ways in: Services, names for what is outside, and what leads to a Service.
*/}}

{{/*
The Service of each service; one with a StatefulSet has another without an address, for the names of its pods.
*/}}
{{- define "library.services" -}}
{{- range $name, $service := include "library.selected" . | fromJson }}
{{- $scope := dict "root" $.root "name" $name "service" $service }}
{{- include "library.checkPorts" $scope }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "library.metadata" (list $scope (include "library.name" (list $.root "service" $name))) | nindent 2 }}
spec:
  type: {{ $service.service.type }}
  sessionAffinity: None
  selector:
    {{- include "library.selector" $scope | nindent 4 }}
    {{- if has $name ($.root.Values.faults | default dict).noEndpoints }}
    fault: no-endpoints
    {{- end }}
  ports:
    {{- include "library.servicePorts" $scope | nindent 4 }}
{{- if eq $service.workload "StatefulSet" }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "library.metadata" (list $scope (include "library.headless" $scope)) | nindent 2 }}
spec:
  type: ClusterIP
  clusterIP: None
  selector:
    {{- include "library.selector" $scope | nindent 4 }}
  ports:
    - name: {{ $service.portName }}
      port: {{ $service.port | int }}
      targetPort: {{ $service.portName }}
      protocol: {{ $service.service.protocol }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The Service of a StatefulSet that has no address.
*/}}
{{- define "library.headless" -}}
{{- include "library.name" (list .root "service" .name) | trunc 54 | trimSuffix "-" }}-headless
{{- end -}}

{{- define "library.servicePorts" -}}
{{- $about := .service.service -}}
{{- $open := ne $about.type "ClusterIP" -}}
- name: {{ .service.portName }}
  port: {{ include "library.servicePort" .service }}
  {{- if has .name (.root.Values.faults | default dict).wrongTarget }}
  targetPort: 1
  {{- else }}
  targetPort: {{ $about.targetPort | default .service.portName | include "library.portOrName" }}
  {{- end }}
  protocol: {{ $about.protocol }}
  {{- if and $about.nodePort $open }}
  nodePort: {{ $about.nodePort | int }}
  {{- end }}
{{- range $about.extraPorts }}
- name: {{ .name }}
  port: {{ .port | int }}
  targetPort: {{ .name }}
  protocol: {{ .protocol | default "TCP" }}
  {{- if and .nodePort $open }}
  nodePort: {{ .nodePort | int }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
A number from JSON is a float, which would be printed with an exponent from a million on.
*/}}
{{- define "library.portOrName" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ int . }}{{ end -}}
{{- end -}}

{{/*
A Service that leads to a port which no container has would be found out by its users only.
*/}}
{{- define "library.checkPorts" -}}
{{- $target := .service.service.targetPort -}}
{{- $names := list .service.portName -}}
{{- if .service.metrics.port -}}
{{- if eq (int .service.metrics.port) (int .service.port) -}}
{{- fail (printf "service %s: metrics.port is %d, which is its port; make it another" .name (int .service.port)) -}}
{{- end -}}
{{- $names = append $names "metrics" -}}
{{- end -}}
{{- range .service.service.extraPorts -}}
{{- if has .name $names -}}
{{- fail (printf "service %s: two ports are called %s; give each of service.extraPorts a name of its own" $.name .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- if kindIs "string" $target -}}
{{- if not (has $target $names) -}}
{{- fail (printf "service %s: service.targetPort is %s, but the container's ports are called %s" .name $target (join ", " $names)) -}}
{{- end -}}
{{- else if and $target (ne (int $target) (int .service.port)) -}}
{{- fail (printf "service %s: service.targetPort is %d, but the container listens on %d; make both the same, or leave targetPort out" .name (int $target) (int .service.port)) -}}
{{- end -}}
{{- end -}}

{{/*
A Service of type ExternalName for each of `externals`: a name in this namespace for what runs elsewhere.
*/}}
{{- define "library.externals" -}}
{{- range $name, $about := .Values.externals }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "library.sharedLabels" $ | nindent 4 }}
spec:
  type: ExternalName
  sessionAffinity: None
  externalName: {{ $about.host }}
{{- end -}}
{{- end -}}

{{/*
The hosts of an Ingress as a JSON list: `hosts`, or the one that `host`, `path` and `tlsSecret` say.
*/}}
{{- define "library.ingressHosts" -}}
{{- .hosts | default (list (dict "host" .host "paths" (list .path) "tlsSecret" .tlsSecret)) | toJson -}}
{{- end -}}

{{/*
The Ingress of each service that asks for one.
*/}}
{{- define "library.ingresses" -}}
{{- range $name, $service := include "library.described" . | fromJson }}
{{- $scope := dict "root" $ "name" $name "service" $service }}
{{- with $service.ingress }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "library.metadata" (list $scope (include "library.name" (list $ "service" $name))) | nindent 2 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- $hosts := include "library.ingressHosts" . | fromJsonArray }}
  {{- $tls := list }}
  {{- range $hosts }}
  {{- with .tlsSecret }}
  {{- $tls = append $tls . }}
  {{- end }}
  {{- end }}
  {{- with $tls | uniq }}
  tls:
    {{- range $secret := . }}
    - secretName: {{ $secret }}
      {{- $named := list }}
      {{- range $hosts }}
      {{- if and .host (eq (.tlsSecret | default "") $secret) }}
      {{- $named = append $named .host }}
      {{- end }}
      {{- end }}
      {{- with $named | uniq }}
      hosts:
        {{- range . }}
        - {{ . | quote }}
        {{- end }}
      {{- end }}
    {{- end }}
  {{- end }}
  rules:
    {{- range $hosts }}
    - http:
        paths:
          {{- range .paths | default (list "/") }}
          - path: {{ . | quote }}
            pathType: Prefix
            backend:
              service:
                name: {{ include "library.name" (list $ "service" $name) }}
                port:
                  name: {{ $service.portName }}
          {{- end }}
      {{- with .host }}
      host: {{ . | quote }}
      {{- end }}
    {{- end }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The route of the Gateway API of each service that asks for one; the cluster must know the API.
*/}}
{{- define "library.routes" -}}
{{- range $name, $service := include "library.described" . | fromJson }}
{{- $scope := dict "root" $ "name" $name "service" $service }}
{{- with $service.route }}
{{- if .enabled }}
{{- if not .parentRefs }}
{{- fail (printf "service %s: route.enabled without route.parentRefs; name the Gateway that the route belongs to" $name) }}
{{- end }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  {{- include "library.metadata" (list $scope (include "library.name" (list $ "service" $name))) | nindent 2 }}
spec:
  parentRefs:
    {{- toYaml .parentRefs | nindent 4 }}
  {{- with .hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - matches:
        - path:
            type: PathPrefix
            value: {{ .path | quote }}
      backendRefs:
        - name: {{ include "library.name" (list $ "service" $name) }}
          port: {{ include "library.servicePort" $service }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
What tells the Prometheus operator to read the metrics of each service that asks for it; the cluster must know its API. A
port of their own is in no other Service: with a node port it would be open to the outside.
*/}}
{{- define "library.serviceMonitors" -}}
{{- range $name, $service := include "library.described" . | fromJson }}
{{- $scope := dict "root" $ "name" $name "service" $service }}
{{- with $service.serviceMonitor }}
{{- if .enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "library.metadata" (list $scope (include "library.name" (list $ "deployment" $name))) | nindent 2 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "library.selector" $scope | nindent 6 }}
  endpoints:
    - port: {{ if $service.metrics.port }}metrics{{ else }}{{ $service.portName }}{{ end }}
      path: {{ .path | quote }}
      interval: {{ .interval }}
{{- with $service.metrics.port }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "library.metadata" (list $scope (printf "%s-metrics" (include "library.name" (list $ "service" $name) | trunc 55 | trimSuffix "-"))) | nindent 2 }}
spec:
  type: ClusterIP
  clusterIP: None
  selector:
    {{- include "library.selector" $scope | nindent 4 }}
  ports:
    - name: metrics
      port: {{ . | int }}
      targetPort: metrics
      protocol: TCP
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}
