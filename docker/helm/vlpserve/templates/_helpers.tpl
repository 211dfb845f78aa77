{{- define "vlpserve.labels" -}}
app.kubernetes.io/name: vlpserve
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "vlpserve.selector" -}}
app.kubernetes.io/name: vlpserve
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "vlpserve.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* Of all pods: a service account's token is of no use to them. Without enableServiceLinks: false Kubernetes would set
     VLPSERVE_GATEWAY_PORT and the like, which are no settings, and vlpserve refuses to start with those. */}}
{{- define "vlpserve.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "vlpserve.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Pods that lie on different nodes where they can. */}}
{{- define "vlpserve.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "vlpserve.selector" . | nindent 8 }}
{{- end }}

{{/* The shipped models, where no claim brings others. */}}
{{- define "vlpserve.repositoryWriter" -}}
{{- if not .Values.repository.existingClaim }}
initContainers:
  - name: repository
    image: {{ include "vlpserve.image" (dict "root" . "image" .Values.gateway.image) }}
    imagePullPolicy: {{ .Values.gateway.image.pullPolicy }}
    args: [triton-repository, /repository, --flavour, {{ .Values.repository.flavour }}]
    {{- include "vlpserve.containerSecurity" . | nindent 4 }}
    resources:
      requests: {cpu: 100m, memory: 256Mi}
      limits: {memory: 1Gi}
    volumeMounts:
      - {name: repository, mountPath: /repository}
      - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end }}

{{- define "vlpserve.repositoryVolume" -}}
- name: repository
  {{- if .Values.repository.existingClaim }}
  persistentVolumeClaim: {claimName: {{ .Values.repository.existingClaim }}, readOnly: true}
  {{- else }}
  emptyDir: {}
  {{- end }}
- name: tmp
  emptyDir: {}
{{- end }}

{{/* What opens model control on Triton, for Triton and the gateways. */}}
{{- define "vlpserve.controlMount" -}}
{{- if .Values.triton.controlSecret }}
- {name: control, mountPath: /etc/vlpserve/control, readOnly: true}
{{- end }}
{{- end }}

{{- define "vlpserve.controlVolume" -}}
{{- if .Values.triton.controlSecret }}
- name: control
  secret: {secretName: {{ .Values.triton.controlSecret }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* Every Triton pod that there can ever be, by its own name: the gateways watch each, and ask those that are there. */}}
{{- define "vlpserve.tritonUrls" -}}
{{- $count := .Values.triton.replicas | int }}
{{- if .Values.triton.autoscaling.enabled }}{{ $count = .Values.triton.autoscaling.maxReplicas | int }}{{ end }}
{{- $urls := list }}
{{- range until $count }}
{{- $urls = append $urls (printf "%s-triton-%d.%s-triton:8001" $.Release.Name . $.Release.Name) }}
{{- end }}
{{- join "," $urls }}
{{- end }}
