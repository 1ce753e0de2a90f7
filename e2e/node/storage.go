package node

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// provisioner is GKE's driver for persistent disks.
const provisioner = "pd.csi.storage.gke.io"

// What the control plane and a provisioner tell each other on a claim.
const (
	provisionerAnnotation = "volume.kubernetes.io/storage-provisioner"
	nodeAnnotation        = "volume.kubernetes.io/selected-node"
)

// createStorage creates two of GKE's storage classes, and the driver's own
// object, which says that its volumes need not be attached: nobody would.
func (n *Nodes) createStorage(ctx context.Context) error {
	waits, immediate := storagev1.VolumeBindingWaitForFirstConsumer, storagev1.VolumeBindingImmediate
	remove, grow, attach := corev1.PersistentVolumeReclaimDelete, true, false
	for _, class := range []storagev1.StorageClass{
		{
			ObjectMeta:  metav1.ObjectMeta{Name: "standard-rwo", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
			Provisioner: provisioner, VolumeBindingMode: &waits, ReclaimPolicy: &remove, AllowVolumeExpansion: &grow, Parameters: map[string]string{"type": "pd-balanced"},
		},
		{
			ObjectMeta:  metav1.ObjectMeta{Name: "standard"},
			Provisioner: provisioner, VolumeBindingMode: &immediate, ReclaimPolicy: &remove, AllowVolumeExpansion: &grow, Parameters: map[string]string{"type": "pd-standard"},
		},
	} {
		if _, err := n.client.StorageV1().StorageClasses().Create(ctx, &class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	driver := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: provisioner}, Spec: storagev1.CSIDriverSpec{AttachRequired: &attach}}
	if _, err := n.client.StorageV1().CSIDrivers().Create(ctx, driver, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// provision makes a volume for every claim that the control plane gives to the driver.
func (n *Nodes) provision(ctx context.Context, factory informers.SharedInformerFactory) error {
	events, recorder := newRecorder(n.client, provisioner+"_gke-5f0c7a1b", "")
	context.AfterFunc(ctx, events.Shutdown)
	serve := func(object any) {
		claim, ok := object.(*corev1.PersistentVolumeClaim)
		if !ok || claim.Annotations[provisionerAnnotation] != provisioner || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
			return
		}
		class, err := factory.Storage().V1().StorageClasses().Lister().Get(*claim.Spec.StorageClassName)
		if err != nil || *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer && claim.Annotations[nodeAnnotation] == "" {
			return
		}
		volume := newVolume(claim, class)
		_, err = n.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
		switch {
		case err == nil:
			recorder.Event(claim, corev1.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume "+volume.Name)
		case !apierrors.IsAlreadyExists(err) && ctx.Err() == nil:
			n.logf("claim %s/%s: %v", claim.Namespace, claim.Name, err)
		}
	}
	factory.Storage().V1().StorageClasses().Informer()
	_, err := factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: serve, UpdateFunc: func(_, o any) { serve(o) },
	})
	return err
}

func newVolume(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class.Name, AccessModes: claim.Spec.AccessModes, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			Capacity: corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			ClaimRef: &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: provisioner, VolumeHandle: fmt.Sprintf("projects/local-project/zones/europe-west6-a/disks/pvc-%s", claim.UID), FSType: "ext4",
			}},
		},
	}
}
