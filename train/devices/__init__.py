"""MANY DEVICES, MANY HOSTS: how arrays are split, how processes find and watch each other."""
