{{/*
The Deployment or StatefulSet of each service.
*/}}
{{- define "library.workloads" -}}
{{- $described := include "library.described" .root | fromJson -}}
{{- range $name, $service := include "library.selected" . | fromJson }}
---
{{ include "library.workload" (dict "root" $.root "described" $described "name" $name "service" $service) }}
{{- end -}}
{{- end -}}

{{/*
What the API server would drop or rewrite isn't written: an unchanged release is then a literal part of what is live.
*/}}
{{- define "library.workload" -}}
{{- $service := .service -}}
{{- $stateful := eq $service.workload "StatefulSet" -}}
{{- $claims := dict -}}
{{- $others := dict -}}
{{- range $volume, $about := $service.volumes -}}
{{- $_ := set ($about.size | empty | ternary $others $claims) $volume $about -}}
{{- end -}}
{{- range $label, $_ := include "library.podLabels" . | fromYaml -}}
{{- if hasKey $service.podLabels $label -}}
{{- fail (printf "service %s: podLabels sets %s, which the chart sets itself; choose another label" $.name $label) -}}
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
  {{- /* What an autoscaler decides isn't written: each upgrade would set it back. */}}
  {{- if not $service.hpa.enabled }}
  replicas: {{ $service.replicaCount | int }}
  {{- end }}
  revisionHistoryLimit: {{ $service.revisionHistoryLimit | int }}
  selector:
    matchLabels:
      {{- include "library.selector" . | nindent 6 }}
  {{- if $stateful }}
  serviceName: {{ include "library.headless" . }}
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
        {{- with $service.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with include "library.podAnnotations" . | fromJson }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "library.podSecurity" $service | nindent 6 }}
      {{- with $service.serviceAccount.name }}
      serviceAccountName: {{ . }}
      {{- end }}
      {{- with $service.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with $service.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $service.hostAliases }}
      hostAliases:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      affinity:
        {{- include "library.affinity" . | nindent 8 }}
      {{- if $service.topologySpread.enabled }}
      topologySpreadConstraints:
        - topologyKey: {{ $service.topologySpread.topologyKey }}
          maxSkew: {{ $service.topologySpread.maxSkew | int }}
          {{- /* A wish only, so that one node is enough. */}}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "library.selector" . | nindent 14 }}
      {{- end }}
      {{- with $service.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $service.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      terminationGracePeriodSeconds: {{ $service.terminationGracePeriodSeconds | int }}
      {{- with $service.initContainers }}
      initContainers:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .name }}
          image: {{ include "library.image" . }}
          imagePullPolicy: {{ $service.image.pullPolicy | default "IfNotPresent" }}
          {{- with $service.command }}
          command:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $service.args }}
          args:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - name: {{ $service.portName }}
              containerPort: {{ $service.port | int }}
              protocol: {{ $service.service.protocol }}
            {{- range $service.service.extraPorts }}
            - name: {{ .name }}
              containerPort: {{ .targetPort | default .port | int }}
              protocol: {{ .protocol | default "TCP" }}
            {{- end }}
            {{- with $service.metrics.port }}
            - name: metrics
              containerPort: {{ . | int }}
              protocol: TCP
            {{- end }}
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
            {{- with $service.metrics.port }}
            {{- $_ := set $env "METRICS_PORT" (. | int | toString) }}
            {{- end }}
            {{- with $service.traces.endpoint }}
            {{- $_ := set $env "OTEL_EXPORTER_OTLP_ENDPOINT" . }}
            {{- end }}
            {{- range $key, $value := set $env "PORT" ($service.port | int | toString) }}
            - name: {{ $key }}
              {{- with $value }}
              value: {{ . | quote }}
              {{- end }}
            {{- end }}
            {{- with $service.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- if $service.lifecycle }}
          lifecycle:
            {{- toYaml $service.lifecycle | nindent 12 }}
          {{- else if $service.preStopSeconds | int }}
          lifecycle:
            preStop:
              sleep:
                seconds: {{ $service.preStopSeconds | int }}
          {{- end }}
          startupProbe:
            {{- include "library.probe" (list $service "startup") | nindent 12 }}
          livenessProbe:
            {{- include "library.probe" (list $service "liveness") | nindent 12 }}
          readinessProbe:
            {{- include "library.probe" (list $service "readiness") | nindent 12 }}
          resources:
            {{- toYaml $service.resources | nindent 12 }}
          {{- include "library.containerSecurity" $service | nindent 10 }}
          {{- with $service.volumes }}
          volumeMounts:
            {{- range $volume, $about := . }}
            - name: {{ $volume }}
              mountPath: {{ $about.path | quote }}
              {{- if $about.configMap }}
              readOnly: true
              {{- end }}
            {{- end }}
          {{- end }}
        {{- with $service.sidecars }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $others }}
      volumes:
        {{- range $volume, $about := . }}
        - name: {{ $volume }}
          {{- if $about.configMap }}
          configMap:
            name: {{ $about.configMap }}
          {{- else if $about.existingClaim }}
          persistentVolumeClaim:
            claimName: {{ $about.existingClaim }}
          {{- else }}
          emptyDir:
            {{- with $about.emptyDir.medium }}
            medium: {{ . }}
            {{- end }}
            sizeLimit: {{ $about.emptyDir.sizeLimit | default "64Mi" }}
          {{- end }}
        {{- end }}
      {{- end }}
{{- end -}}

{{/*
That pods of one service keep apart is a wish only, so that one node is enough, and always there, so that scaling replaces
no pod. What values say is laid over it.
*/}}
{{- define "library.affinity" -}}
{{- $apart := include "library.apart" . | fromYaml -}}
{{- include "library.overlay" (list $apart .service.affinity) | fromJson | toYaml -}}
{{- end -}}

{{- define "library.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "library.selector" . | nindent 12 }}
{{- end -}}

{{/*
The annotations of values, and what a pod must be replaced for although its template is the same otherwise: the content of
the ConfigMaps that it takes, and the Secret if it takes a key of it. All as JSON.
*/}}
{{- define "library.podAnnotations" -}}
{{- $values := .root.Values -}}
{{- $taken := dict -}}
{{- $named := .service.configMaps | default list -}}
{{- range .service.volumes -}}
{{- with .configMap -}}
{{- $named = append $named . -}}
{{- end -}}
{{- end -}}
{{- range $map := $named -}}
{{- $texts := get ($values.configMaps | default dict) $map -}}
{{- $files := get ($values.binaryConfigMaps | default dict) $map -}}
{{- if and (kindIs "string" $texts) (kindIs "string" $files) -}}
{{- fail (printf "service %s takes the ConfigMap %s, which is not described; add configMaps.%s" $.name $map $map) -}}
{{- end -}}
{{- $_ := set $taken $map (include "library.texts" (list $.root $.described ($texts | default dict))) -}}
{{- with $files -}}
{{- $_ := set $taken (print $map "/binary") (toJson $files) -}}
{{- end -}}
{{- end -}}
{{- $annotations := deepCopy .service.podAnnotations -}}
{{- if $taken -}}
{{- $_ := set $annotations "checksum/config" (toJson $taken | sha256sum) -}}
{{- end -}}
{{- if .service.secretKeys -}}
{{- $secret := include "library.secretValues" .root | fromJson -}}
{{- $given := $secret.create | ternary ($secret.values | default dict) dict -}}
{{- if or $values.secret.version $given -}}
{{- $_ := set $annotations "checksum/secret" (print $values.secret.version ($given | empty | ternary "" (toJson $given)) | sha256sum) -}}
{{- end -}}
{{- end -}}
{{- toJson $annotations -}}
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
Pod Security "restricted", for the pod and its container.
*/}}
{{- define "library.podSecurity" -}}
automountServiceAccountToken: {{ .serviceAccount.automountToken }}
enableServiceLinks: false
{{- $context := include "library.podSecurityContext" . }}
{{- with .podSecurityContext }}
{{- $context = include "library.overlay" (list (fromYaml $context) .) | fromJson | toYaml }}
{{- end }}
securityContext:
  {{- $context | nindent 2 }}
{{- end -}}

{{- define "library.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .runAsUser | int }}
runAsGroup: {{ .runAsUser | int }}
fsGroup: {{ .runAsUser | int }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- if lt (include "library.lowestPort" . | int) 1024 }}
{{- /* Without, only root may listen there; a safe sysctl, which the restricted level allows. */}}
sysctls:
  - name: net.ipv4.ip_unprivileged_port_start
    value: "0"
{{- end }}
{{- end -}}

{{- define "library.lowestPort" -}}
{{- $lowest := int .port -}}
{{- range .service.extraPorts -}}
{{- $lowest = min $lowest (.targetPort | default .port) -}}
{{- end -}}
{{- $lowest -}}
{{- end -}}

{{- define "library.containerSecurity" -}}
{{- $context := include "library.containerSecurityContext" . }}
{{- with .securityContext }}
{{- $context = include "library.overlay" (list (fromYaml $context) .) | fromJson | toYaml }}
{{- end -}}
securityContext:
  {{- $context | nindent 2 }}
{{- end -}}

{{- define "library.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end -}}
