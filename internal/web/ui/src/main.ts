import { mount } from 'svelte'
import App from './App.svelte'
import { app } from './lib/app.svelte'
import './theme.css'

void app.start()
mount(App, { target: document.getElementById('app')! })
