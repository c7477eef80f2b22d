// Package helm_test renders the chart and holds what comes out to the types of Kubernetes.
package helm_test

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chart = "../../helm/rollcall"

var keys = map[string]any{"appId": "app1", "appKey": "key1", "masterKey": "master1", "hookKey": "hook1", "tokenSecret": "secret1"}

// render returns the documents that the chart makes of values, by kind and name.
func render(t *testing.T, values map[string]any) (map[string][]byte, error) {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	v, err := util.ToRenderValues(c, values, common.ReleaseOptions{Name: "im", Namespace: "chat", IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, v)
	if err != nil {
		return nil, err
	}
	docs := map[string][]byte{}
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, doc := range strings.Split("\n"+text, "\n---\n") {
			var head struct {
				Kind     string
				Metadata struct{ Name string }
			}
			if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			if head.Kind != "" {
				docs[head.Kind+" "+head.Metadata.Name] = []byte(doc)
			}
		}
	}
	return docs, nil
}

// decode reads a document into a type of Kubernetes, which must know every field of it.
func decode[T any](t *testing.T, docs map[string][]byte, name string) (v T) {
	t.Helper()
	if docs[name] == nil {
		t.Fatalf("there is no %s among %q", name, slices.Sorted(maps.Keys(docs)))
	}
	if err := yaml.UnmarshalStrict(docs[name], &v); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, docs[name])
	}
	return v
}

func env(c core.Container) map[string]string {
	m := map[string]string{}
	for _, e := range c.Env {
		m[e.Name] = e.Value
		if e.ValueFrom != nil {
			m[e.Name] = "secret " + e.ValueFrom.SecretKeyRef.Name + " " + e.ValueFrom.SecretKeyRef.Key
		}
	}
	return m
}

func TestTheChartOfOneNode(t *testing.T) {
	docs, err := render(t, map[string]any{"keys": keys, "proxies": []any{"10.0.0.0/8", "192.0.2.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(docs)); !slices.Equal(got, []string{
		"Secret im-rollcall-keys", "Service im-rollcall", "Service im-rollcall-nodes", "StatefulSet im-rollcall",
	}) {
		t.Errorf("it makes %q", got)
	}
	secret := decode[core.Secret](t, docs, "Secret im-rollcall-keys")
	if want := map[string]string{
		"LEANCLOUD_APP_ID": "app1", "LEANCLOUD_APP_KEY": "key1", "LEANCLOUD_APP_MASTER_KEY": "master1", "LEANCLOUD_APP_HOOK_KEY": "hook1", "LEANCLOUD_APP_TOKEN_SECRET": "secret1",
	}; !maps.Equal(secret.StringData, want) {
		t.Errorf("the secret has %v", secret.StringData)
	}
	set := decode[apps.StatefulSet](t, docs, "StatefulSet im-rollcall")
	service := decode[core.Service](t, docs, "Service im-rollcall")
	nodes := decode[core.Service](t, docs, "Service im-rollcall-nodes")
	for _, selector := range []map[string]string{set.Spec.Selector.MatchLabels, service.Spec.Selector, nodes.Spec.Selector} {
		for k, v := range selector {
			if set.Spec.Template.Labels[k] != v {
				t.Errorf("a selector asks for %s=%s, which the pods do not have", k, v)
			}
		}
	}
	if set.Spec.ServiceName != nodes.Name || nodes.Spec.ClusterIP != "None" || *set.Spec.Replicas != 1 {
		t.Errorf("the set: service %s, %d replicas", set.Spec.ServiceName, *set.Spec.Replicas)
	}
	pod := set.Spec.Template.Spec
	c := pod.Containers[0]
	if got := env(c); got["ROLLCALL_ADMIN"] != ":3001" || got["ROLLCALL_PROXIES"] != "10.0.0.0/8,192.0.2.1" || got["ROLLCALL_STORE"] != "" {
		t.Errorf("the environment is %v", got)
	}
	if c.Image != "rollcall:0.2.0" || c.EnvFrom[0].SecretRef.Name != secret.Name {
		t.Errorf("the image is %s, with the secret %s", c.Image, c.EnvFrom[0].SecretRef.Name)
	}
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || s.Capabilities.Drop[0] != "ALL" ||
		pod.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken {
		t.Error("the pod has rights that it does not need")
	}
	if c.StartupProbe.HTTPGet.Path != "/readyz" || c.ReadinessProbe.HTTPGet.Path != "/livez" || c.LivenessProbe.HTTPGet.Path != "/livez" {
		t.Error("the probes ask for other pages")
	}
	if c.Lifecycle.PreStop.Sleep.Seconds+30 > *pod.TerminationGracePeriodSeconds {
		t.Error("a pod that ends is killed before its sockets are closed")
	}
	if set.Spec.VolumeClaimTemplates[0].Name != c.VolumeMounts[0].Name || c.VolumeMounts[0].MountPath != "/data" {
		t.Error("the state is on no volume")
	}
}

func TestTheChartOfManyNodes(t *testing.T) {
	docs, err := render(t, map[string]any{
		"replicas": 3, "storeSecret": map[string]any{"name": "valkey", "key": "url"}, "keys": map[string]any{"existingSecret": "app"},
		"serviceMonitor": true, "settings": map[string]any{"ROLLCALL_LOG_FORMAT": "json"},
	})
	if err != nil {
		t.Fatal(err)
	}
	set := decode[apps.StatefulSet](t, docs, "StatefulSet im-rollcall")
	budget := decode[policy.PodDisruptionBudget](t, docs, "PodDisruptionBudget im-rollcall")
	c := set.Spec.Template.Spec.Containers[0]
	if got := env(c); got["ROLLCALL_STORE"] != "secret valkey url" || got["ROLLCALL_LOG_FORMAT"] != "json" {
		t.Errorf("the environment is %v", got)
	}
	if *set.Spec.Replicas != 3 || c.EnvFrom[0].SecretRef.Name != "app" || docs["Secret im-rollcall-keys"] != nil {
		t.Errorf("%d replicas with the secret %s", *set.Spec.Replicas, c.EnvFrom[0].SecretRef.Name)
	}
	if !maps.Equal(budget.Spec.Selector.MatchLabels, set.Spec.Selector.MatchLabels) || budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("the budget is %+v", budget.Spec)
	}
	monitor := string(docs["ServiceMonitor im-rollcall"])
	if !strings.Contains(monitor, "port: operators") || !strings.Contains(monitor, "jobLabel: app.kubernetes.io/name") {
		t.Errorf("Prometheus reads\n%s", monitor)
	}
	docs, err = render(t, map[string]any{"replicas": 2, "store": "redis://valkey:6379", "keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	if got := env(decode[apps.StatefulSet](t, docs, "StatefulSet im-rollcall").Spec.Template.Spec.Containers[0]); got["ROLLCALL_STORE"] != "redis://valkey:6379" {
		t.Errorf("the environment is %v", got)
	}
}

func TestTheChartRefuses(t *testing.T) {
	for _, tt := range []struct {
		values map[string]any
		want   string
	}{
		{map[string]any{}, "the keys of the app are missing"},
		{map[string]any{"keys": map[string]any{"appId": "a"}}, "keys.appKey is missing"},
		{map[string]any{"keys": keys, "replicas": 2}, "set store or storeSecret"},
		{map[string]any{"keys": keys, "replicas": 0}, "replicas"},
		{map[string]any{"keys": keys, "store": "valkey:6379"}, "store"},
		{map[string]any{"keys": keys, "replica": 2}, "replica"},
		{map[string]any{"keys": keys, "settings": map[string]any{"PATH": "/"}}, "PATH"},
	} {
		if _, err := render(t, tt.values); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.values, err, tt.want)
		}
	}
}

func TestTheChartIsClean(t *testing.T) {
	for _, m := range lint.RunAll(chart, map[string]any{"keys": keys}, "chat").Messages {
		if !strings.Contains(m.Error(), "icon is recommended") {
			t.Error(m)
		}
	}
	version, err := os.ReadFile("../../VERSION")
	if err != nil {
		t.Fatal(err)
	}
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	if want := string(bytes.TrimSpace(version)); c.Metadata.AppVersion != want || c.Metadata.Version != want {
		t.Errorf("the chart is %s of %s, and the release %s", c.Metadata.Version, c.Metadata.AppVersion, want)
	}
}
