{{/*
The Deployment or StatefulSet of each service.
*/}}
{{- define "library.workloads" -}}
{{- $described := include "library.described" . | fromJson -}}
{{- range $name, $service := $described }}
---
{{ include "library.workload" (dict "root" $ "described" $described "name" $name "service" $service) }}
{{- end -}}
{{- end -}}

{{/*
What the API server would drop or rewrite isn't written: an unchanged release is then a literal part of what is live.
*/}}
{{- define "library.workload" -}}
{{- $service := .service -}}
{{- $stateful := eq $service.workload "StatefulSet" -}}
{{- $claims := dict -}}
{{- range $volume, $about := $service.volumes -}}
{{- if $about.size -}}
{{- $_ := set $claims $volume $about -}}
{{- end -}}
{{- end -}}
{{- if and $claims (not $stateful) -}}
{{- fail (printf "service %s: the volume %s has a size, which only a StatefulSet can keep; set workload: StatefulSet, or emptyDir in place of size" .name (keys $claims | sortAlpha | first)) -}}
{{- end -}}
apiVersion: apps/v1
kind: {{ $service.workload }}
metadata:
  name: {{ include "library.name" (list .root "deployment" .name) }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "library.labels" . | nindent 4 }}
spec:
  replicas: {{ $service.replicas | int }}
  revisionHistoryLimit: {{ $service.revisionHistoryLimit | int }}
  selector:
    matchLabels:
      {{- include "library.selector" . | nindent 6 }}
  {{- if $stateful }}
  serviceName: {{ include "library.name" (list .root "service" .name) }}
  {{- /* In order, a pod that never gets ready would have to be deleted by hand before a mended one could follow. */}}
  podManagementPolicy: Parallel
  updateStrategy:
    type: RollingUpdate
  {{- /* The data outlives the workload and the release. */}}
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: Retain
    whenScaled: Retain
  {{- with $claims }}
  volumeClaimTemplates:
    {{- range $volume, $about := . }}
    - metadata:
        name: {{ $volume }}
        labels:
          {{- include "library.selector" $ | nindent 10 }}
      spec:
        accessModes:
          - ReadWriteOnce
        {{- with $about.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ $about.size }}
    {{- end }}
  {{- end }}
  {{- else }}
  progressDeadlineSeconds: {{ $service.progressDeadlineSeconds | int }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: {{ $service.strategy.maxSurge }}
      maxUnavailable: {{ $service.strategy.maxUnavailable }}
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "library.podLabels" . | nindent 8 }}
      {{- with include "library.checksums" . }}
      annotations:
        {{- . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "library.podSecurity" $service | nindent 6 }}
      {{- /* A wish only, so that one node is enough, and always there, so that scaling replaces no pod. */}}
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    {{- include "library.selector" . | nindent 20 }}
      terminationGracePeriodSeconds: {{ $service.terminationGracePeriodSeconds | int }}
      containers:
        - name: {{ .name }}
          image: {{ include "library.image" . }}
          imagePullPolicy: {{ $service.image.pullPolicy | default "IfNotPresent" }}
          ports:
            - name: {{ $service.portName }}
              containerPort: {{ $service.port | int }}
              protocol: TCP
          {{- with $service.configMaps }}
          envFrom:
            {{- range . }}
            - configMapRef:
                name: {{ . }}
            {{- end }}
          {{- end }}
          env:
            {{- range $service.secretKeys }}
            - name: {{ . }}
              valueFrom:
                secretKeyRef:
                  name: {{ required "secret.name is empty, but a service takes keys of it; set secret.name" $.root.Values.secret.name }}
                  key: {{ . }}
            {{- end }}
            {{- $env := include "library.texts" (list .root .described ($service.env | default dict)) | fromJson }}
            {{- range $key, $value := set $env "PORT" ($service.port | int | toString) }}
            - name: {{ $key }}
              {{- with $value }}
              value: {{ . | quote }}
              {{- end }}
            {{- end }}
          startupProbe:
            {{- include "library.probe" (list $service "startup") | nindent 12 }}
          livenessProbe:
            {{- include "library.probe" (list $service "liveness") | nindent 12 }}
          readinessProbe:
            {{- include "library.probe" (list $service "readiness") | nindent 12 }}
          resources:
            {{- toYaml $service.resources | nindent 12 }}
          {{- include "library.containerSecurity" . | nindent 10 }}
          {{- with $service.volumes }}
          volumeMounts:
            {{- range $volume, $about := . }}
            - name: {{ $volume }}
              mountPath: {{ $about.path | quote }}
            {{- end }}
          {{- end }}
      {{- $scratch := dict }}
      {{- range $volume, $about := $service.volumes }}
      {{- if not $about.size }}
      {{- $_ := set $scratch $volume ($about.emptyDir | default dict) }}
      {{- end }}
      {{- end }}
      {{- with $scratch }}
      volumes:
        {{- range $volume, $about := . }}
        - name: {{ $volume }}
          emptyDir:
            {{- with $about.medium }}
            medium: {{ . }}
            {{- end }}
            sizeLimit: {{ $about.sizeLimit | default "64Mi" }}
        {{- end }}
      {{- end }}
{{- end -}}

{{/*
What a pod must be replaced for although its template is the same otherwise: the content of the ConfigMaps that it takes,
and the version of the Secret if it takes a key of it.
*/}}
{{- define "library.checksums" -}}
{{- $taken := dict -}}
{{- range .service.configMaps -}}
{{- $data := get ($.root.Values.configMaps | default dict) . -}}
{{- if kindIs "string" $data -}}
{{- fail (printf "service %s takes the ConfigMap %s, which is not described; add configMaps.%s" $.name . .) -}}
{{- end -}}
{{- $_ := set $taken . (include "library.texts" (list $.root $.described ($data | default dict))) -}}
{{- end -}}
{{- $checksums := dict -}}
{{- if $taken -}}
{{- $_ := set $checksums "checksum/config" (toJson $taken | sha256sum) -}}
{{- end -}}
{{- if and .service.secretKeys .root.Values.secret.version -}}
{{- $_ := set $checksums "checksum/secret" (sha256sum .root.Values.secret.version) -}}
{{- end -}}
{{- with $checksums -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/*
(list SERVICE PROBE): a command, a path, or else that the port takes connections. A startup probe that says neither asks
what the liveness probe asks.
*/}}
{{- define "library.probe" -}}
{{- $service := index . 0 -}}
{{- $probe := get $service.probes (index . 1) -}}
{{- $asks := $probe -}}
{{- if and (eq (index . 1) "startup") (not $probe.path) (not $probe.exec) -}}
{{- $asks = $service.probes.liveness -}}
{{- end -}}
{{- if $asks.exec -}}
exec:
  command:
    {{- toYaml $asks.exec | nindent 4 }}
{{- else if $asks.path -}}
httpGet:
  path: {{ $asks.path | quote }}
  port: {{ $service.portName }}
{{- else -}}
tcpSocket:
  port: {{ $service.portName }}
{{- end -}}
{{- range $field := list "initialDelaySeconds" "periodSeconds" "timeoutSeconds" "failureThreshold" -}}
{{- with get $probe $field }}
{{ $field }}: {{ . | int }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Pod Security «restricted», for the pod and its container.
*/}}
{{- define "library.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .runAsUser | int }}
  runAsGroup: {{ .runAsUser | int }}
  fsGroup: {{ .runAsUser | int }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "library.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
{{- end -}}
