echo no such controller; exit 3
