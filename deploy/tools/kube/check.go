package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	podsecurityapi "k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// crdModules hold the definitions of what is not Kubernetes's own.
var crdModules = []struct{ module, sum, folder string }{
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=", "example/prometheus-operator-crd"},
	{"github.com/cert-manager/cert-manager@v1.21.2", "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=", "deploy/crds"},
}

// check is what an API server would say of one object.
func check(text []byte) (*unstructured.Unstructured, []error) {
	o := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict(text, &o.Object); err != nil {
		_ = yaml.Unmarshal(text, &o.Object)
		return o, []error{err}
	}
	if strings.Contains(strings.Split(o.GetAPIVersion(), "/")[0], ".") && !strings.HasSuffix(strings.Split(o.GetAPIVersion(), "/")[0], ".k8s.io") {
		return o, checkCustom(o)
	}
	return o, checkBuiltIn(o, text)
}

func checkBuiltIn(o *unstructured.Unstructured, text []byte) []error {
	codecs := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	versioned, _, err := codecs.UniversalDeserializer().Decode(text, nil, nil) // unknown and duplicate fields are errors
	if err != nil {
		return []error{err}
	}
	legacyscheme.Scheme.Default(versioned)
	internal, err := legacyscheme.Scheme.ConvertToVersion(versioned, runtime.InternalGroupVersioner)
	if err != nil {
		return []error{err}
	}
	var all field.ErrorList
	switch x := internal.(type) {
	case *apps.Deployment:
		namespaced(&x.ObjectMeta.Namespace)
		all = appsvalidation.ValidateDeployment(x, podutil.GetValidationOptionsFromPodTemplate(&x.Spec.Template, nil))
		all = append(all, restricted(versioned.(*appsv1.Deployment))...)
	case *core.Pod:
		namespaced(&x.ObjectMeta.Namespace)
		all = corevalidation.ValidatePodCreate(x, podutil.GetValidationOptionsFromPodSpecAndMeta(&x.Spec, nil, &x.ObjectMeta, nil))
	case *core.Service:
		namespaced(&x.ObjectMeta.Namespace)
		if x.Spec.ClusterIP == "" { // the allocator's, at creation
			x.Spec.ClusterIP, x.Spec.ClusterIPs = "10.0.0.1", []string{"10.0.0.1"}
		} else {
			x.Spec.ClusterIPs = []string{x.Spec.ClusterIP}
		}
		x.Spec.IPFamilies = []core.IPFamily{core.IPv4Protocol}
		single := core.IPFamilyPolicySingleStack
		x.Spec.IPFamilyPolicy = &single
		if x.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
			x.Spec.HealthCheckNodePort = 30000 // the allocator's as well
		}
		all = corevalidation.ValidateServiceCreate(x)
	case *core.ConfigMap:
		namespaced(&x.ObjectMeta.Namespace)
		all = corevalidation.ValidateConfigMap(x)
	case *core.Secret:
		namespaced(&x.ObjectMeta.Namespace)
		all = corevalidation.ValidateSecret(x)
	case *core.ServiceAccount:
		namespaced(&x.ObjectMeta.Namespace)
		all = corevalidation.ValidateServiceAccount(x)
	case *policy.PodDisruptionBudget:
		namespaced(&x.ObjectMeta.Namespace)
		all = policyvalidation.ValidatePodDisruptionBudget(x, policyvalidation.PodDisruptionBudgetValidationOptions{})
	case *autoscaling.HorizontalPodAutoscaler:
		namespaced(&x.ObjectMeta.Namespace)
		all = autoscalingvalidation.ValidateHorizontalPodAutoscaler(x, autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{})
	case *networking.NetworkPolicy:
		namespaced(&x.ObjectMeta.Namespace)
		all = networkingvalidation.ValidateNetworkPolicy(x, networkingvalidation.NetworkPolicyValidationOptions{})
	default:
		return []error{fmt.Errorf("%s %s: a kind that is not checked: say here how", o.GetAPIVersion(), o.GetKind())}
	}
	return errorsOf(all)
}

var standards = sync.OnceValues(func() (podsecurity.Evaluator, error) {
	return podsecurity.NewEvaluator(podsecurity.DefaultChecks(), nil)
})

// restricted is what the strictest of the pod security standards has against a deployment.
func restricted(d *appsv1.Deployment) (all field.ErrorList) {
	evaluator, err := standards()
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	level := podsecurityapi.LevelVersion{Level: podsecurityapi.LevelRestricted, Version: podsecurityapi.LatestVersion()}
	for _, r := range evaluator.EvaluatePod(level, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec) {
		if !r.Allowed {
			all = append(all, field.Forbidden(field.NewPath("spec.template.spec"), "pod security standard restricted: "+r.ForbiddenReason+" ("+r.ForbiddenDetail+")"))
		}
	}
	return all
}

func errorsOf(list field.ErrorList) (all []error) {
	for _, e := range list {
		all = append(all, e)
	}
	return all
}

// namespaced is what helm install does.
func namespaced(namespace *string) {
	if *namespace == "" {
		*namespace = "ai"
	}
}

var definitions = sync.OnceValues(func() (map[string]*apiextensions.CustomResourceDefinition, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	decoder := serializer.NewCodecFactory(scheme).UniversalDecoder(apiextensions.SchemeGroupVersion)
	all := map[string]*apiextensions.CustomResourceDefinition{}
	for _, m := range crdModules {
		out, err := exec.Command("go", "mod", "download", "-json", m.module).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", m.module, err, out)
		}
		var found struct{ Dir, Sum string }
		if err := json.Unmarshal(out, &found); err != nil {
			return nil, err
		}
		if found.Sum != m.sum {
			return nil, fmt.Errorf("%s is %s, and not %s", m.module, found.Sum, m.sum)
		}
		files, err := filepath.Glob(filepath.Join(found.Dir, m.folder, "*.yaml"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("%s: no definitions: %w", m.module, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if !bytes.Contains(text, []byte("kind: CustomResourceDefinition")) {
				continue
			}
			o, _, err := decoder.Decode(text, nil, nil)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			d := o.(*apiextensions.CustomResourceDefinition)
			all[d.Spec.Group+" "+d.Spec.Names.Kind] = d
		}
	}
	return all, nil
})

// checkCustom is by the schema of its definition: what it does not know is an error as well.
func checkCustom(o *unstructured.Unstructured) []error {
	all, err := definitions()
	if err != nil {
		return []error{err}
	}
	kind := o.GroupVersionKind()
	d := all[kind.Group+" "+kind.Kind]
	if d == nil {
		return []error{errors.New("no definition of it is at hand")}
	}
	i := slices.IndexFunc(d.Spec.Versions, func(v apiextensions.CustomResourceDefinitionVersion) bool { return v.Name == kind.Version && v.Served })
	if i < 0 {
		return []error{fmt.Errorf("version %s is not served", kind.Version)}
	}
	validation, err := apiextensions.GetSchemaForVersion(d, kind.Version)
	if err != nil {
		return []error{err}
	}
	shape, err := structural.NewStructural(validation.OpenAPIV3Schema)
	if err != nil {
		return []error{err}
	}
	var problems []error
	for _, path := range pruning.PruneWithOptions(o.DeepCopy().Object, shape, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		problems = append(problems, fmt.Errorf("unknown field %s", path))
	}
	validator, _, err := crdvalidation.NewSchemaValidator(validation.OpenAPIV3Schema)
	if err != nil {
		return append(problems, err)
	}
	return append(problems, errorsOf(crdvalidation.ValidateCustomResource(nil, o.Object, validator))...)
}
