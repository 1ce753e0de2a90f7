// Package object has the conditions of the action's package of the same name: the
// file is a link, since this module has other versions of Kubernetes' libraries
// and cannot import the action's, and one grammar has one parser. What it does is
// said and tested there.
package object
