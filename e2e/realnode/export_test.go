package realnode

// UpperHalf is upperHalf.
var UpperHalf = upperHalf

// Container is the name of a node's container and network.
func Container(n *Node) string { return n.id }
