{{/*
The Service of each service.
*/}}
{{- define "library.services" -}}
{{- range $name, $service := include "library.described" . | fromJson }}
{{- $scope := dict "root" $ "name" $name "service" $service }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "library.name" (list $ "service" $name) }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "library.labels" $scope | nindent 4 }}
spec:
  type: {{ $service.service.type }}
  sessionAffinity: None
  selector:
    {{- include "library.selector" $scope | nindent 4 }}
  ports:
    - name: {{ $service.portName }}
      port: {{ $service.service.port | default $service.port | int }}
      targetPort: {{ $service.portName }}
      protocol: TCP
      {{- if and $service.service.nodePort (ne $service.service.type "ClusterIP") }}
      nodePort: {{ $service.service.nodePort | int }}
      {{- end }}
{{- end -}}
{{- end -}}

{{/*
Each of `configMaps`.
*/}}
{{- define "library.configMaps" -}}
{{- $described := include "library.described" . | fromJson -}}
{{- range $name, $data := .Values.configMaps }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "library.sharedLabels" $ | nindent 4 }}
{{- with include "library.texts" (list $ $described ($data | default dict)) | fromJson }}
data:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The Secret, for people without another way to make it. What the cluster's Secret already holds stays: a new password
would not open the database of before.
*/}}
{{- define "library.secret" -}}
{{- $secret := .Values.secret -}}
{{- if $secret.create -}}
{{- $data := (lookup "v1" "Secret" .Release.Namespace $secret.name).data | default dict | deepCopy -}}
{{- range $secret.random -}}
{{- if not (hasKey $data .) -}}
{{- $_ := set $data . (randAlphaNum 32 | b64enc) -}}
{{- end -}}
{{- end -}}
{{- range $key, $text := $secret.derived -}}
{{- if not (hasKey $data $key) -}}
{{- range $known, $encoded := $data -}}
{{- $text = $text | replace (printf "{%s}" $known) ($encoded | b64dec) -}}
{{- end -}}
{{- $_ := set $data $key ($text | b64enc) -}}
{{- end -}}
{{- end -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ $secret.name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "library.sharedLabels" . | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
type: Opaque
{{- with $data }}
data:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
`helm test`: a pod, from the image of one of the services, that asks each service whether it is ready, through its Service.
*/}}
{{- define "library.test" -}}
{{- $described := include "library.described" . | fromJson -}}
{{- $runner := get $described (.Values.test.service | default .Chart.Name) -}}
{{- $urls := list -}}
{{- range $name, $service := $described -}}
{{- with $service.probes.readiness.path -}}
{{- $urls = append $urls (printf "%s%s" (include "library.url" (list $ $described $name)) .) -}}
{{- end -}}
{{- end -}}
{{- if and $runner .Values.test.command $urls -}}
{{- /* No Service may take this pod for one of its own: it has no `app` of a service. */ -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-test
  namespace: {{ .Release.Namespace }}
  labels:
    app: {{ .Release.Name }}-test
    {{- include "library.sharedLabels" . | nindent 4 }}
    app.kubernetes.io/component: test
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  {{- include "library.podSecurity" $runner | nindent 2 }}
  restartPolicy: Never
  activeDeadlineSeconds: 60
  containers:
    - name: test
      image: {{ include "library.image" (dict "root" . "service" $runner) }}
      imagePullPolicy: {{ $runner.image.pullPolicy | default "IfNotPresent" }}
      command:
        {{- toYaml .Values.test.command | nindent 8 }}
      args:
        {{- toYaml $urls | nindent 8 }}
      resources:
        requests:
          cpu: 10m
          memory: 16Mi
          ephemeral-storage: 1Mi
        limits:
          cpu: 100m
          memory: 64Mi
          ephemeral-storage: 16Mi
      {{- include "library.containerSecurity" . | nindent 6 }}
{{- end -}}
{{- end -}}

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
  {{ $name }}: kubectl --namespace {{ $.Release.Namespace }} get service {{ include "library.name" (list $ "service" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if not $outside }}
  nothing is open; kubectl port-forward, as below, reaches what is within
{{- end }}

From within the namespace:
{{- range $name, $service := $described }}
  {{ $name }}: {{ include "library.url" (list $ $described $name) | trimPrefix "http://" }}
{{- end }}

A service on this machine, at http://127.0.0.1:PORT:
{{- range $name, $service := $described }}
  kubectl --namespace {{ $.Release.Namespace }} port-forward service/{{ include "library.name" (list $ "service" $name) }} {{ $service.port | int }}:{{ $service.service.port | default $service.port | int }}
{{- end }}
{{- if .Values.test.command }}

Is it well? helm --namespace {{ .Release.Namespace }} test {{ .Release.Name }}
{{- end }}
{{- end -}}
